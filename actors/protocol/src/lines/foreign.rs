//! Files that are not JSON lines, recognized by their first bytes, with the program that converts them.

/// A form other than one JSON object per line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// Description of the form.
    pub what: &'static str,
    /// Program that writes JSON lines, with its arguments.
    pub program: &'static str,
}

const PACKED: [(&[u8], Foreign); 4] = [
    (b"\x1f\x8b", Foreign { what: "is compressed with gzip", program: "gzip -dc" }),
    (b"\x28\xb5\x2f\xfd", Foreign { what: "is compressed with zstd", program: "zstd -dc" }),
    (b"\xfd7zXZ\0", Foreign { what: "is compressed with xz", program: "xz -dc" }),
    (b"BZh", Foreign { what: "is compressed with bzip2", program: "bzip2 -dc" }),
];
const UTF_16: [(&[u8], Foreign); 4] = [
    (b"\xff\xfe", Foreign { what: "is UTF-16", program: "iconv -f UTF-16 -t UTF-8" }),
    (b"\xfe\xff", Foreign { what: "is UTF-16", program: "iconv -f UTF-16 -t UTF-8" }),
    (b"{\0", Foreign { what: "is UTF-16", program: "iconv -f UTF-16LE -t UTF-8" }),
    (b"\0{", Foreign { what: "is UTF-16", program: "iconv -f UTF-16BE -t UTF-8" }),
];
const ARRAY: Foreign = Foreign { what: "is a JSON array", program: "jq -c '.[]'" };
const PRETTY: Foreign = Foreign { what: "has objects that span several lines", program: "jq -c ." };

impl Foreign {
    /// Recognizes the form of a file by its first bytes; none when the file may be JSON lines.
    pub fn of(head: &[u8]) -> Option<Foreign> {
        let known = PACKED.iter().chain(&UTF_16).find(|(start, _)| head.starts_with(start));
        if let Some((_, foreign)) = known {
            return Some(*foreign);
        }
        let text = head.strip_prefix("\u{feff}".as_bytes()).unwrap_or(head).trim_ascii_start();
        match text.split_first()? {
            (b'[', _) => Some(ARRAY),
            (b'{', rest) => {
                let next = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
                (next == Some(&b'\n')).then_some(PRETTY)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_known_by_their_beginning_and_lines_are_none() {
        let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        for (head, program) in [
            (b"\x1f\x8b\x08\0".to_vec(), "gzip -dc"),
            (utf_16("\u{feff}{\"a\":1}"), "iconv -f UTF-16 -t UTF-8"),
            (utf_16("{\"a\":1}"), "iconv -f UTF-16LE -t UTF-8"),
            (b"\n [{\"a\":1}]".to_vec(), "jq -c '.[]'"),
            (b"\xef\xbb\xbf[\n".to_vec(), "jq -c '.[]'"),
            (b"{\r\n  \"a\": 1\r\n}".to_vec(), "jq -c ."),
        ] {
            assert_eq!(Foreign::of(&head).map(|foreign| foreign.program), Some(program), "{head:?}");
        }
        for lines in ["", "\n", "{", "{}\n", "{ \"a\":1}\n", "\u{feff}{\"a\":1}", "x", "null"] {
            assert_eq!(Foreign::of(lines.as_bytes()), None, "{lines:?}");
        }
    }
}
