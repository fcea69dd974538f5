//! Blocks of PEM (RFC 7468).

use zeroize::Zeroizing;

/// The certificates of a PEM text, each as its base64 text. OpenSSL's reader would ask a terminal for the pass phrase of blocks that
/// say they are encrypted.
pub(super) struct PemBlocks<'a>(pub(super) &'a [u8]);

/// Returns the content of the first block of PEM with one of these labels; `None` if there is none or it is not base64.
pub(super) fn pem_block(text: &[u8], labels: &[&[u8]]) -> Option<Vec<u8>> {
    let mut text = text;
    loop {
        (_, text) = split_once(text, b"-----BEGIN ")?;
        if let Some(label) = labels.iter().find(|label| text.starts_with(label)) {
            let (body, _) = split_once(&text[label.len()..], b"-----END ")?;
            return decode(body).ok();
        }
    }
}

/// Decodes the text of a block.
///
/// # Errors
/// The reason, if it is not base64.
pub(super) fn decode(body: &[u8]) -> Result<Vec<u8>, &'static str> {
    // The block may be a key: a growing buffer would leave copies of it in memory.
    let mut text = Zeroizing::new(Vec::with_capacity(body.len()));
    body.split(u8::is_ascii_whitespace).for_each(|line| text.extend_from_slice(line));
    std::str::from_utf8(&text).ok().and_then(|text| openssl::base64::decode_block(text).ok()).ok_or("it is not base64")
}

impl<'a> Iterator for PemBlocks<'a> {
    type Item = Result<&'a [u8], &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        const LABELS: [&[u8]; 2] = [b"CERTIFICATE-----", b"X509 CERTIFICATE-----"];
        loop {
            let (_, after) = split_once(self.0, b"-----BEGIN ")?;
            self.0 = after;
            let Some(label) = LABELS.iter().find(|label| after.starts_with(label)) else { continue };
            let Some((body, rest)) = split_once(&after[label.len()..], b"-----END ") else {
                return self.end("its end is missing");
            };
            self.0 = rest;
            return Some(Ok(body));
        }
    }
}

impl PemBlocks<'_> {
    fn end<T>(&mut self, reason: &'static str) -> Option<Result<T, &'static str>> {
        self.0 = &[];
        Some(Err(reason))
    }
}

fn split_once<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(mark.len()).position(|window| window[0] == mark[0] && window == mark)?;
    Some((&text[..at], &text[at + mark.len()..]))
}
