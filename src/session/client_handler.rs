//! Our side of russh's callbacks: the host key goes to the judge, the server's words and the cause
//! of the end go to the `Link`, and every channel a server tries to open towards us is rejected.
//! Run by russh's own task, so nothing here may wait.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::{Channel, ChannelId, ChannelOpenFailure, Names};

use super::host_key::HostKeyJudge;
use super::link::{Link, SERVER_TEXT_CHARS};
use super::{FailureKind, SessionError};
use crate::inventory::target::HostKeyPolicy;
use crate::printable::printable;

/// What a callback may end the session with.
#[derive(Debug)]
pub(crate) enum HandlerError {
    /// russh's own failure.
    Ssh(russh::Error),
    /// The host key was not accepted.
    Verdict(SessionError),
}

impl From<russh::Error> for HandlerError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

/// The callbacks of one connection.
pub(crate) struct ClientHandler {
    pub(crate) judge: Arc<HostKeyJudge>,
    pub(crate) policy: HostKeyPolicy,
    pub(crate) link: Arc<Link>,
    /// Silence after which russh gives up, for the sentence about it.
    pub(crate) silence: Duration,
}

impl ClientHandler {
    /// Returns the end of an established connection in one sentence.
    fn cause(&self, reason: &DisconnectReason<HandlerError>) -> SessionError {
        let to = self.link.endpoint();
        let error = match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let said = printable(info.message.trim(), SERVER_TEXT_CHARS);
                return SessionError::new(FailureKind::LinkLost, format!("{to} ended the connection: {said}"));
            }
            DisconnectReason::Error(HandlerError::Verdict(error)) => return error.clone(),
            DisconnectReason::Error(HandlerError::Ssh(error)) => error,
        };
        let silent = self.silence.as_secs();
        let text = match error {
            russh::Error::KeepaliveTimeout => format!("{to} answers no keepalive; the link or the node is dead"),
            russh::Error::InactivityTimeout => format!("nothing came from {to} for {silent} s; the link is dead"),
            russh::Error::IO(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                format!("{to} closed the connection without a word")
            }
            russh::Error::IO(e) => format!("the connection to {to} broke: {e}"),
            russh::Error::HUP | russh::Error::Disconnect => format!("the connection to {to} was closed"),
            other => format!("the connection to {to} failed: {}", printable(&other.to_string(), SERVER_TEXT_CHARS)),
        };
        SessionError::new(FailureKind::LinkLost, text)
            .with_hint("what had arrived is kept; see whether the node still answers, then collect again")
    }
}

/// Rejects a channel the server wants to open: nothing of ours ever asks for one.
macro_rules! reject_channels {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        #[allow(clippy::too_many_arguments, reason = "russh's signature")]
        async fn $name(
            &mut self,
            _: Channel<Msg>,
            $($arg: $type,)*
            reply: ChannelOpenHandle,
            _: &mut Session,
        ) -> Result<(), HandlerError> {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            Ok(())
        }
    )*};
}

impl Handler for ClientHandler {
    type Error = HandlerError;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, HandlerError> {
        let accepted =
            self.judge.judge(&self.policy, self.link.endpoint(), presented).map_err(HandlerError::Verdict)?;
        self.link.set_accepted(accepted);
        Ok(true)
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut Session) -> Result<(), HandlerError> {
        self.link.add_banner(banner);
        Ok(())
    }

    async fn kex_done(&mut self, _: Option<&[u8]>, names: &Names, _: &mut Session) -> Result<(), HandlerError> {
        let mut text = format!("{}, {}", names.kex.as_ref(), names.cipher.as_ref());
        if !matches!(names.client_compression, russh::compression::Compression::None) {
            text.push_str(", compressed");
        }
        self.link.set_kex_done(text);
        Ok(())
    }

    async fn channel_open_failure(
        &mut self,
        _: ChannelId,
        _: ChannelOpenFailure,
        description: &str,
        _: &str,
        _: &mut Session,
    ) -> Result<(), HandlerError> {
        self.link.add_refusal(description);
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<HandlerError>) -> Result<(), HandlerError> {
        if let DisconnectReason::ReceivedDisconnect(info) = &reason {
            self.link.set_farewell(&info.message);
        }
        self.link.die(self.cause(&reason));
        Ok(())
    }

    reject_channels! {
        server_channel_open_forwarded_tcpip(_a: &str, _b: u32, _c: &str, _d: u32);
        server_channel_open_forwarded_streamlocal(_a: &str);
        server_channel_open_agent_forward();
        server_channel_open_unknown();
        server_channel_open_session();
        server_channel_open_direct_tcpip(_a: &str, _b: u32, _c: &str, _d: u32);
        server_channel_open_direct_streamlocal(_a: &str);
        server_channel_open_x11(_a: &str, _b: u32);
    }
}
