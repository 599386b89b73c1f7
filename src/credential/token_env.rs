//! A token in an environment variable of ours. Read once, at the start; processes we start do not inherit the variable.

use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::token_text::token_of;
use super::{CredentialError, TokenSource};
use crate::environment;

/// The value an environment variable had at the start.
pub struct TokenEnv(SecretString);

impl TokenEnv {
    /// Reads the variable, and hides it from all processes that are started from now on.
    ///
    /// # Errors
    /// There is no such variable, or it holds no token.
    pub fn read(name: &str) -> Result<Self, CredentialError> {
        environment::hide(name);
        let of = format!("the environment variable {name}");
        let Some(value) = std::env::var_os(name) else {
            return Err(CredentialError(format!("{of} is not set: export it, or name another")));
        };
        let value = Zeroizing::new(std::os::unix::ffi::OsStringExt::into_vec(value));
        token_of(&value, &of).map(Self)
    }
}

impl TokenSource for TokenEnv {
    fn token(&self, _fresh: bool) -> BoxFuture<'_, Result<Option<SecretString>, CredentialError>> {
        futures::future::ready(Ok(Some(SecretString::from(self.0.expose_secret())))).boxed()
    }

    fn renewable(&self) -> bool {
        false
    }
}
