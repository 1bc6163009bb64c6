//! Times of a workload: counted from a fixed day, never read from a clock.

/// Formats seconds after 2026-01-01T00:00:00Z as RFC 3339, followed by `zone`.
pub fn after_2026(seconds: u64, zone: &str) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, split into eras of 400 years (Hinnant, "chrono-compatible low-level date algorithms").
    let z = days + 20_454 + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{zone}", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted() {
        assert_eq!(after_2026(0, "Z"), "2026-01-01T00:00:00Z");
        assert_eq!(after_2026(86_399, ".5+02:00"), "2026-01-01T23:59:59.5+02:00");
        // 2028 has a 29 February.
        assert_eq!(after_2026(86_400 * (365 + 365 + 59), "Z"), "2028-02-29T00:00:00Z");
        assert_eq!(after_2026(86_400 * (365 + 365 + 60), "Z"), "2028-03-01T00:00:00Z");
    }
}
