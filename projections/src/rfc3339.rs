//! Times in the form of RFC 3339.
//!
//! Guarantees: an accepted time exists. The day is one of its month (leap years counted, in the proleptic Gregorian
//! calendar). Second 60 is allowed only for a possible leap second: at 23:59:60 UTC on the last day of a month.

/// True when `text` is `YYYY-MM-DDThh:mm:ss[.f…](Z|±hh:mm)` and names a time that exists. `t`, `z` and a space for the
/// `T` are allowed.
pub fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |from: usize, len: usize| -> Option<i32> {
        let digits = bytes.get(from..from + len)?;
        digits.iter().try_fold(0, |n, d| d.is_ascii_digit().then(|| n * 10 + i32::from(d - b'0')))
    };
    let at = |index: usize, wanted: &[u8]| bytes.get(index).is_some_and(|byte| wanted.contains(byte));
    let shape = at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":");
    let fields =
        (|| Some((number(0, 4)?, number(5, 2)?, number(8, 2)?, number(11, 2)?, number(14, 2)?, number(17, 2)?)))();
    let Some((year, month, day, hour, minute, second)) = fields.filter(|_| shape) else { return false };
    let Some(days) = days_of(year, month) else { return false };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return false;
    }
    let mut zone = 19;
    if at(zone, b".") {
        let digits = bytes[zone + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        zone += 1 + digits;
    }
    let offset = match bytes.get(zone) {
        Some(b'Z' | b'z') if bytes.len() == zone + 1 => Some(0),
        Some(sign @ (b'+' | b'-')) if bytes.len() == zone + 6 && at(zone + 3, b":") => {
            let minutes = number(zone + 1, 2).filter(|hour| *hour < 24).zip(number(zone + 4, 2).filter(|m| *m < 60));
            minutes.map(|(hours, minutes)| (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 })
        }
        _ => None,
    };
    // Minutes since midnight UTC of the written day; below 0 it is the day before.
    offset.is_some_and(|offset| match hour * 60 + minute - offset {
        _ if second < 60 => true,
        LAST_MINUTE => day == days,
        -1 => day == 1,
        _ => false,
    })
}

/// 23:59.
const LAST_MINUTE: i32 = 24 * 60 - 1;

fn days_of(year: i32, month: i32) -> Option<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_exists_is_taken() {
        for good in [
            "2026-02-01T00:00:00Z",
            "2026-02-01T00:00:00.123456+02:00",
            "2026-02-01T00:00:01.5-00:30",
            "2026-08-01t09:00:00z",
            "2026-08-01 09:00:00-00:00",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "2024-02-29T00:00:00Z",
            "2000-02-29T00:00:00Z",
            "0000-02-29T00:00:00Z",
            "1990-12-31T23:59:60Z",
            "1990-12-31T15:59:60-08:00",
            "1991-01-01T05:29:60.5+05:30",
            "2026-12-31t23:59:60z",
        ] {
            assert!(is_time(good), "{good}");
        }
    }

    #[test]
    fn a_time_that_does_not_exist_is_refused() {
        for bad in [
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2024-02-30T00:00:00Z",
            "2024-02-31T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-06-31T09:30:00Z",
            "2026-09-31T09:30:00Z",
            "2026-11-31T09:30:00Z",
            "2026-01-32T09:30:00Z",
            "2026-00-01T09:30:00Z",
            "2026-01-00T09:30:00Z",
            "2026-12-31T23:58:60Z",
            "2026-12-30T23:59:60Z",
            "2026-12-31T23:59:60+01:00",
            "1991-01-02T05:29:60+05:30",
            "2026-12-31T23:59:61Z",
        ] {
            assert!(!is_time(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "yesterday",
            "2026-02-01",
            "2026-02-01T00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-01T24:00:00Z",
            "2026-02-01T00:60:00Z",
            "2026-02-01T00:00:00.Z",
            "2026-02-01T00:00:00Zx",
            "2026-02-01T00:00:00+0200",
            "2026-02-01T00:00:00+24:00",
            "2026-02-01T00:00:00+02:60",
            "2026-02-01T00:00:00+02:00 ",
            "２026-02-01T00:00:00Z",
        ] {
            assert!(!is_time(bad), "{bad}");
        }
    }
}
