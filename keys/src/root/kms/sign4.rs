//! AWS Signature Version 4, as the IAM User Guide draws it ("Create a signed AWS API request"), for a POST to `/`.

use zeroize::Zeroizing;

use super::credentials::Credentials;
use crate::digest;
use crate::root::calendar::date;
use crate::root::line::hex;

/// What is signed: a request without a query, whose headers are named in small letters and in the order of the alphabet.
pub(super) struct Unsigned<'a> {
    /// `POST`.
    pub(super) method: &'a str,
    /// What follows the `?`, encoded and sorted.
    pub(super) query: &'a str,
    /// Each name in small letters with its value, in the order of the names.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub(super) body: &'a [u8],
    /// When, as `20150830T123600Z`.
    pub(super) stamp: &'a str,
    /// Where, as `eu-central-1`.
    pub(super) region: &'a str,
    /// What, as `kms`.
    pub(super) service: &'a str,
}

/// The value of the `Authorization` header.
pub(super) fn authorization(request: &Unsigned<'_>, credentials: &Credentials) -> String {
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let canonical =
        format!("{}\n/\n{}\n{headers}\n{names}\n{}", request.method, request.query, hex(&digest::sha256(&[request.body])));
    let day = &request.stamp[..8];
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", request.stamp, hex(&digest::sha256(&[canonical.as_bytes()])));
    let secret = Zeroizing::new([b"AWS4", credentials.secret.as_bytes()].concat());
    let mut key = Zeroizing::new(digest::mac_with(&secret, &[day.as_bytes()]));
    for part in [request.region, request.service, "aws4_request"] {
        key = Zeroizing::new(digest::mac_with(&*key, &[part.as_bytes()]));
    }
    let signature = hex(&digest::mac_with(&*key, &[text.as_bytes()]));
    format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", credentials.id)
}

/// Seconds since 1970 as `20150830T123600Z`.
pub(super) fn stamp(seconds: i64) -> String {
    let (year, month, day) = date(seconds);
    let rest = seconds.rem_euclid(86_400);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_iam_user_guide_is_signed_as_printed() {
        // "Signature Version 4 signing process", the example of GET ListUsers.
        let credentials = Credentials {
            id: "AKIDEXAMPLE".into(),
            secret: Zeroizing::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into()),
            session: None,
        };
        let request = Unsigned {
            method: "GET",
            query: "Action=ListUsers&Version=2010-05-08",
            headers: &[
                ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ],
            body: b"",
            stamp: "20150830T123600Z",
            region: "us-east-1",
            service: "iam",
        };
        assert_eq!(
            authorization(&request, &credentials),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn seconds_become_dates() {
        // date -u -d @N
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (1_735_689_599, "20241231T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(stamp(seconds), text);
        }
    }
}
