//! Statements by name, cut out of the file of their noun at compile time: a missing name does not compile.
//!
//! A statement begins behind its line `-- name: NAME` and ends before the next one. Lines that are comments say why it
//! has its shape and are not sent. `{OTHER}` stands for another statement of the same file, such as a list of columns.

/// Returns a statement of a file, as a constant.
macro_rules! sql {
    ($file:expr, $name:literal) => {{
        const LENGTH: usize = $crate::sql::write($file, $name.as_bytes(), &mut [], 0);
        const BYTES: [u8; LENGTH] = {
            let mut bytes = [0; LENGTH];
            $crate::sql::write($file, $name.as_bytes(), &mut bytes, 0);
            bytes
        };
        const TEXT: &str = match ::std::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => panic!("a statement is not UTF-8"),
        };
        TEXT
    }};
}

/// Line before a statement, up to its name.
const MARK: &[u8] = b"-- name: ";

/// Writes a statement into `out` from `at` on, as far as there is room. Returns the end.
pub(crate) const fn write(file: &str, name: &[u8], out: &mut [u8], mut at: usize) -> usize {
    let bytes = file.as_bytes();
    let mut from = behind_name(bytes, name);
    let start = at;
    // End of the last line that is not empty.
    let mut end = at;
    while from < bytes.len() && !holds(bytes, from, MARK) {
        let line = from;
        while from < bytes.len() && bytes[from] != b'\n' {
            from += 1;
        }
        if !is_comment(bytes, line) && from > line {
            if at > start {
                at = put(out, at, b'\n');
            }
            at = write_line(file, bytes.split_at(line).1.split_at(from - line).0, out, at);
            end = at;
        }
        from += 1;
    }
    assert!(end > start, "a statement is empty");
    end
}

const fn write_line(file: &str, line: &[u8], out: &mut [u8], mut at: usize) -> usize {
    let mut from = 0;
    while from < line.len() {
        if line[from] == b'{' {
            let open = from + 1;
            while line[from] != b'}' {
                from += 1;
            }
            at = write(file, line.split_at(open).1.split_at(from - open).0, out, at);
        } else {
            at = put(out, at, line[from]);
        }
        from += 1;
    }
    at
}

const fn put(out: &mut [u8], at: usize, byte: u8) -> usize {
    if at < out.len() {
        out[at] = byte;
    }
    at + 1
}

/// Returns the position behind the line that names the statement.
const fn behind_name(file: &[u8], name: &[u8]) -> usize {
    let mut line = 0;
    while line < file.len() {
        let mut end = line;
        while end < file.len() && file[end] != b'\n' {
            end += 1;
        }
        if holds(file, line, MARK) && end - line == MARK.len() + name.len() && holds(file, line + MARK.len(), name) {
            return end + 1;
        }
        line = end + 1;
    }
    panic!("no statement of this file has this name")
}

const fn is_comment(file: &[u8], mut line: usize) -> bool {
    while line < file.len() && file[line] == b' ' {
        line += 1;
    }
    holds(file, line, b"--")
}

/// True when `part` is in the file at this position.
const fn holds(file: &[u8], at: usize, part: &[u8]) -> bool {
    if file.len() < at + part.len() {
        return false;
    }
    let mut index = 0;
    while index < part.len() {
        if file[at + index] != part[index] {
            return false;
        }
        index += 1;
    }
    true
}
