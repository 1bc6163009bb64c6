//! Times in the form of RFC 3339.
//!
//! Guarantees: an accepted time exists. The day is one of its month (leap years counted, in the proleptic Gregorian
//! calendar). Second 60 is allowed only for a possible leap second: at 23:59:60 UTC on the last day of a month.

/// An instant: seconds since the beginning of 1970 in UTC, and the digits of the fraction without zeros at their end. A
/// leap second is the second behind it.
pub type Instant<'a> = (i64, &'a str);

/// True when `text` is `YYYY-MM-DDThh:mm:ss[.f…](Z|±hh:mm)` and names a time that exists. `t`, `z` and a space for the
/// `T` are allowed.
pub fn is_time(text: &str) -> bool {
    instant(text).is_some()
}

/// Returns the instant of a time that exists; see [`is_time`]. Instants compare as times do.
pub fn instant(text: &str) -> Option<Instant<'_>> {
    let bytes = text.as_bytes();
    let number = |from: usize, len: usize| -> Option<i32> {
        let digits = bytes.get(from..from + len)?;
        digits.iter().try_fold(0, |n, d| d.is_ascii_digit().then(|| n * 10 + i32::from(d - b'0')))
    };
    let at = |index: usize, wanted: &[u8]| bytes.get(index).is_some_and(|byte| wanted.contains(byte));
    let shape = at(4, b"-") && at(7, b"-") && at(10, b"Tt ") && at(13, b":") && at(16, b":");
    let fields =
        (|| Some((number(0, 4)?, number(5, 2)?, number(8, 2)?, number(11, 2)?, number(14, 2)?, number(17, 2)?)))();
    let (year, month, day, hour, minute, second) = fields.filter(|_| shape)?;
    let days = days_of(year, month)?;
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (mut zone, mut fraction) = (19, "");
    if at(zone, b".") {
        let digits = bytes[zone + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        fraction = text.get(zone + 1..zone + 1 + digits).filter(|digits| !digits.is_empty())?;
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
    let minutes = hour * 60 + minute - offset?;
    let exists = match minutes {
        _ if second < 60 => true,
        LAST_MINUTE => day == days,
        -1 => day == 1,
        _ => false,
    };
    let midnight = days_since_1970(year, month, day) * 86_400;
    exists.then(|| (midnight + i64::from(minutes) * 60 + i64::from(second), fraction.trim_end_matches('0')))
}

/// Counts the days from 1970-01-01 on. (Years begin in March here, so that the leap day is their last.)
fn days_since_1970(year: i32, month: i32, day: i32) -> i64 {
    let year = i64::from(if month <= 2 { year - 1 } else { year });
    let month = i64::from((month + 9) % 12);
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + i64::from(day) - 1 - 719_468
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
    fn instants_compare_as_times_do() {
        assert_eq!(instant("1970-01-01T00:00:00Z"), Some((0, "")));
        assert_eq!(instant("2026-01-31T09:30:00.500Z"), Some((1_769_851_800, "5")));
        assert_eq!(instant("2000-03-01T00:00:00Z").map(|at| at.0), Some(951_868_800));
        assert_eq!(instant("1969-12-31T23:59:59Z"), Some((-1, "")));
        assert_eq!(instant("2026-01-31T10:30:00+01:00"), instant("2026-01-31T09:30:00.000Z"));
        assert_eq!(instant("1990-12-31T23:59:60Z"), instant("1991-01-01T00:00:00Z"));
        let in_order = [
            "0000-01-01T00:00:00Z",
            "0000-02-29T00:00:00Z",
            "0000-03-01T00:00:00Z",
            "1999-12-31T23:59:59.9Z",
            "2024-02-29T00:00:00Z",
            "2024-02-29T23:00:00-02:00",
            "2024-03-01T01:00:00.05Z",
            "2024-03-01T01:00:00.45Z",
            "2024-03-01T01:00:00.5Z",
            "2024-03-01T01:00:00.51Z",
            "9999-12-31T23:59:59Z",
        ];
        let instants: Vec<_> = in_order.iter().map(|time| instant(time).expect("a time")).collect();
        assert!(instants.windows(2).all(|pair| pair[0] < pair[1]), "{instants:?}");
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
