//! Which of several forms of an answer the caller would rather have (RFC 9110 §12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

/// The media types of `Accept`, each with its weight.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Accept(Vec<(String, f32)>);

/// What the headers say.
pub(super) fn of(headers: &HeaderMap) -> Accept {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let one = |part: &str| {
        let mut parameters = part.split(';').map(str::trim);
        let media = parameters.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parameters.find_map(|parameter| parameter.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
        (media, weight)
    };
    Accept(values.flat_map(|value| value.split(',')).map(one).collect())
}

impl Accept {
    /// The place in `offered` of what is named with the most weight, and of several such the first; the first of all where none
    /// is named.
    pub(super) fn best(&self, offered: &[&str]) -> usize {
        let weight =
            |media: &str| self.0.iter().filter(|(named, _)| named == media).map(|(_, weight)| *weight).fold(0.0, f32::max);
        let mut best = (0, 0.0);
        for (place, media) in offered.iter().enumerate() {
            let own = weight(media);
            if own > best.1 {
                best = (place, own);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_first_form_is_given_unless_another_is_named_with_more_weight() {
        for (accept, best) in [
            ("", 0),
            ("*/*", 0),
            ("text/csv", 1),
            ("Text/CSV; charset=utf-8", 1),
            ("application/json, text/csv", 0),
            ("application/json;q=0.5, text/csv;q=0.9", 1),
            ("text/csv;q=0", 0),
            ("text/html,application/xhtml+xml,*/*;q=0.8", 0),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(of(&headers).best(&["application/json", "text/csv"]), best, "{accept}");
        }
    }
}
