//! Proves to a server who we are. `login` drives, `offers` decides what is shown and in which
//! order, `agent`, `key_file` and `keys` hold what there is, `signer` signs.

mod agent;
mod key_file;
mod keys;
mod login;
mod offers;
#[cfg(test)]
pub(in crate::session) mod openssh_lab;
mod signer;
#[cfg(test)]
mod tests;

pub(in crate::session) use keys::KeyRing;
#[cfg(test)]
pub(in crate::session) use login::authenticate;
pub(in crate::session) use login::authenticate_within;
