//! Letters by SMTP (RFC 5321), with TLS from the first byte or by STARTTLS; in clear only to this machine itself.

use std::net::IpAddr;
use std::path::PathBuf;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use super::{Failed, Letter, Post};

/// A mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpSettings {
    /// Its name, which its certificate must have, or its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept from others.
    pub security: Security,
    /// The name to sign in with.
    pub user: Option<String>,
    /// The file with the password.
    pub password_file: Option<PathBuf>,
}

/// How a connection to a mail server is kept from others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS once the server was greeted; without it nothing is sent.
    #[default]
    StartTls,
    /// Not at all: to this machine alone.
    None,
}

impl SmtpSettings {
    /// Whether nothing that is sent to it leaves this machine.
    pub fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl Post {
    /// Sends a letter and waits for the server to take it over.
    pub(super) fn by_smtp(&self, settings: &SmtpSettings, letter: &Letter<'_>) -> Result<(), Failed> {
        let mail = self.mail(letter)?;
        let mut connection = self.connected(settings)?;
        let sent = connection.send(mail.envelope(), &mail.formatted());
        connection.abort();
        // What the server says may repeat the address, so only the kind of its refusal goes on from here.
        sent.map(drop).map_err(|error| match error {
            error if error.is_permanent() => Failed::Refused,
            error if error.is_transient() || error.is_client() || error.is_response() => Failed::Later,
            _ => Failed::Unreachable,
        })
    }

    /// A connection over which letters may go. What is refused before a letter is spoken of says nothing about the letter.
    fn connected(&self, settings: &SmtpSettings) -> Result<SmtpConnection, Failed> {
        if settings.security == Security::None && !settings.is_local() {
            return Err(Failed::NoSender);
        }
        let parameters = if settings.security == Security::None { None } else { Some(self.parameters(&settings.host)?) };
        let credentials = match (&settings.user, &settings.password_file) {
            (Some(user), Some(file)) => {
                let password = std::fs::read_to_string(file).map_err(|_| Failed::NoSender)?;
                Some(Credentials::new(user.clone(), password.trim_end().to_owned()))
            }
            _ => None,
        };
        let (name, patience) = (ClientId::default(), Some(self.settings.patience));
        let at_once = parameters.as_ref().filter(|_| settings.security == Security::Tls);
        let server = (settings.host.as_str(), settings.port);
        let mut connection = SmtpConnection::connect(server, patience, &name, at_once, None).map_err(|_| Failed::Unreachable)?;
        if let Some(parameters) = parameters.as_ref().filter(|_| settings.security == Security::StartTls) {
            connection.starttls(parameters, &name).map_err(|_| Failed::Unreachable)?;
        }
        if let Some(credentials) = credentials {
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).map_err(|_| Failed::Later)?;
        }
        Ok(connection)
    }

    fn parameters(&self, host: &str) -> Result<TlsParameters, Failed> {
        let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
        for own in self.authorities()? {
            builder = builder.add_root_certificate(Certificate::from_der(own.der().to_vec()).map_err(|_| Failed::NoSender)?);
        }
        builder.build_rustls().map_err(|_| Failed::NoSender)
    }
}
