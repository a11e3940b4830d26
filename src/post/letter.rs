//! A letter, and its form as a mail (RFC 5322, RFC 2045).

use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder, SinglePart};

use super::{Failed, Post};

/// What goes out. It is made when it goes out and is gone when it has.
pub struct Letter<'a> {
    /// An id without meaning: of the notice or the message. It makes the `Message-ID`, so that a letter that went out twice can be
    /// told from two letters.
    pub id: String,
    /// The person's id, for the application's own sender; a mail does not name it.
    pub subject_id: Option<String>,
    /// One address.
    pub to: &'a str,
    /// Who answers for it: the sender unless one is configured, and where answers go.
    pub officer: &'a str,
    /// The language of the text.
    pub language: &'a str,
    /// The subject line.
    pub title: &'a str,
    /// The text.
    pub text: &'a str,
    /// When it goes out.
    pub at: Timestamp,
}

impl Post {
    /// The letter as a mail. An address or a line that would begin another header is refused by its type, whatever it says.
    pub(super) fn mail(&self, letter: &Letter<'_>) -> Result<Message, Failed> {
        let to: Mailbox = Mailbox::new(None, letter.to.parse().map_err(|_| Failed::Address)?);
        let officer = letter.officer.parse::<Mailbox>().ok();
        let from = match &self.settings.from {
            Some(from) => from.parse::<Mailbox>().ok(),
            None => officer.clone(),
        };
        let from = from.ok_or(Failed::NoSender)?;
        let message_id = format!("<{}@{}>", letter.id, from.email.domain());
        let mut builder: MessageBuilder = Message::builder()
            .from(from)
            .to(to)
            .subject(letter.title)
            .date(UNIX_EPOCH + Duration::from_secs(u64::try_from(letter.at.as_second()).unwrap_or(0)))
            .message_id(Some(message_id))
            // RFC 3834: no automatic answers to it.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Content-Language"), letter.language.to_owned()));
        if let Some(officer) = officer {
            builder = builder.reply_to(officer);
        }
        let text = letter.text.replace("\r\n", "\n").replace('\n', "\r\n");
        builder.singlepart(SinglePart::plain(text)).map_err(|_| Failed::Address)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn letter<'a>(to: &'a str, title: &'a str, text: &'a str) -> Letter<'a> {
        Letter {
            id: "ntc_0000000000000000000000000".into(),
            subject_id: None,
            to,
            officer: "privacy-office@example.org",
            language: "de",
            title,
            text,
            at: "2026-11-23T10:00:00Z".parse().unwrap(),
        }
    }

    fn formatted(letter: &Letter<'_>) -> Result<String, Failed> {
        let post = Post::new(Settings::default());
        post.mail(letter).map(|mail| String::from_utf8(mail.formatted()).unwrap())
    }

    #[test]
    fn it_is_ascii_with_short_lines_and_the_headers_of_a_mail() {
        let text = "Grüße, 您好. ".repeat(40);
        let mail = formatted(&letter("ada@example.org", "Über Sie", &text)).unwrap();
        assert!(mail.is_ascii() && mail.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
        let (head, _) = mail.split_once("\r\n\r\n").unwrap();
        for line in [
            "To: ada@example.org",
            "From: privacy-office@example.org",
            "Reply-To: privacy-office@example.org",
            "Date: Mon, 23 Nov 2026 10:00:00 +0000",
            "Message-ID: <ntc_0000000000000000000000000@example.org>",
            "Auto-Submitted: auto-generated",
            "Content-Language: de",
            "Content-Type: text/plain; charset=utf-8",
            "MIME-Version: 1.0",
        ] {
            assert!(head.split("\r\n").any(|own| own == line), "{line}\n{head}");
        }
        assert!(head.contains("Subject: =?utf-8?b?"), "{head}");
    }

    #[test]
    fn no_address_and_no_title_begins_another_header() {
        for to in [
            "ada@example.org\r\nBcc: eve@example.org",
            "ada@example.org, eve@example.org",
            "ada@example.org\n",
            "",
            "ada",
            "Ada <ada@example.org>",
        ] {
            assert_eq!(formatted(&letter(to, "x", "x")), Err(Failed::Address), "{to}");
        }
        let mail = formatted(&letter("ada@example.org", "x\r\nBcc: eve@example.org", "x")).unwrap();
        let (head, _) = mail.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().split("\r\n").any(|line| line.starts_with("bcc")), "{head}");
    }

    #[test]
    fn a_sender_that_is_configured_stands_before_the_officer() {
        let settings = Settings { from: Some("Privacy <letters@example.com>".into()), ..Settings::default() };
        let mail = Post::new(settings).mail(&letter("ada@example.org", "x", "x")).unwrap();
        let mail = String::from_utf8(mail.formatted()).unwrap();
        assert!(mail.contains("From: Privacy <letters@example.com>\r\n"), "{mail}");
        assert!(mail.contains("Reply-To: privacy-office@example.org\r\n"));
        let nobody = Letter { officer: "ask at the door", ..letter("ada@example.org", "x", "x") };
        assert_eq!(formatted(&nobody), Err(Failed::NoSender));
    }
}
