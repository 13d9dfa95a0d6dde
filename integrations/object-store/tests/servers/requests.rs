//! How many requests pass over a connection.

/// Counts the requests in the bytes that a client sends over one connection of HTTP/1.1: every head, when its empty line has
/// passed. Bodies are passed over by their `Content-Length`; chunked ones are not known here, and no client of ours sends them.
#[derive(Debug, Default)]
pub(super) struct Requests {
    head: Vec<u8>,
    body_left: u64,
}

impl Requests {
    /// Looks at what comes next. Returns how many heads have ended in it.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> u64 {
        let mut ended = 0;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.body_left > 0 {
                bytes = self.pass_body(bytes);
                continue;
            }
            self.head.push(byte);
            bytes = rest;
            if self.head.ends_with(b"\r\n\r\n") {
                ended += 1;
                self.body_left = content_length(&self.head);
                self.head.clear();
            }
        }
        ended
    }

    /// What is behind the body's part of `bytes`.
    fn pass_body<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let here = usize::try_from(self.body_left).unwrap_or(usize::MAX);
        let (body, rest) = bytes.split_at(here.min(bytes.len()));
        self.body_left -= u64::try_from(body.len()).unwrap_or(u64::MAX);
        rest
    }
}

fn content_length(head: &[u8]) -> u64 {
    let mut lines = head.split(|&byte| byte == b'\n');
    let length = lines.find_map(|line| {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        if !name.eq_ignore_ascii_case("content-length") {
            return None;
        }
        value.trim().parse().ok()
    });
    length.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALK: &[u8] = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n\
        PUT /b HTTP/1.1\r\ncontent-LENGTH: 9\r\n\r\n\r\n\r\n\r\n\r\n\n\
        HEAD /c HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";

    #[test]
    fn heads_are_counted_and_bodies_are_not() {
        assert_eq!(Requests::default().pass(TALK), 3);
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_come() {
        for size in 1..TALK.len() {
            let mut requests = Requests::default();
            let ended: u64 = TALK.chunks(size).map(|part| requests.pass(part)).sum();
            assert_eq!(ended, 3, "in parts of {size}");
        }
    }

    #[test]
    fn half_a_request_is_none() {
        assert_eq!(Requests::default().pass(&TALK[..20]), 0);
    }
}
