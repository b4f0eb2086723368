//! Maintenance windows: when versions may change.

use jiff::civil::{Date, Time, Weekday};
use jiff::{Span, Timestamp, tz::TimeZone};

use crate::api::{Day, MaintenanceWindow};
use crate::problem::Problem;

/// Returns whether the window is open.
///
/// # Errors
/// If its start is no time of the day.
pub fn is_open(window: &MaintenanceWindow, now: Timestamp) -> Result<bool, Problem> {
    let start: Time = window.start.parse().map_err(|_| {
        let message = format!("{:?} is no time: write one such as 02:00", window.start);
        Problem::new("spec.maintenanceWindow.start", message)
    })?;
    let now = now.to_zoned(TimeZone::UTC).datetime();
    // One that begins before midnight may last until the next day.
    let begins = [now.date().yesterday().ok(), Some(now.date())].into_iter().flatten();
    let open = |date: Date| {
        let begin = date.to_datetime(start);
        let end = begin.checked_add(Span::new().minutes(window.minutes)).unwrap_or(begin);
        begins_on(window, date) && begin <= now && now < end
    };
    Ok(begins.into_iter().any(open))
}

fn begins_on(window: &MaintenanceWindow, date: Date) -> bool {
    let day = match date.weekday() {
        Weekday::Monday => Day::Monday,
        Weekday::Tuesday => Day::Tuesday,
        Weekday::Wednesday => Day::Wednesday,
        Weekday::Thursday => Day::Thursday,
        Weekday::Friday => Day::Friday,
        Weekday::Saturday => Day::Saturday,
        Weekday::Sunday => Day::Sunday,
    };
    window.days.is_empty() || window.days.contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_from_its_start_for_its_minutes() {
        let window = |days: &[Day], start: &str, minutes| MaintenanceWindow {
            days: days.to_vec(),
            start: start.to_owned(),
            minutes,
        };
        let night = window(&[Day::Saturday], "23:00", 120);
        let daily = window(&[], "02:00", 60);
        let always = window(&[], "00:00", 1440);
        // 2026-11-28 is a Saturday.
        let rows = [
            (&night, "2026-11-28T22:59:59Z", false),
            (&night, "2026-11-28T23:00:00Z", true),
            (&night, "2026-11-29T00:59:59Z", true),
            (&night, "2026-11-29T01:00:00Z", false),
            (&night, "2026-11-28T00:30:00Z", false),
            (&night, "2026-11-29T23:30:00Z", false),
            (&daily, "2026-11-29T02:00:00Z", true),
            (&daily, "2026-11-30T02:59:59Z", true),
            (&daily, "2026-11-30T03:00:00Z", false),
            (&always, "2026-11-30T23:59:59Z", true),
            (&always, "2026-11-30T00:00:00Z", true),
        ];
        for (window, now, wanted) in rows {
            assert_eq!(is_open(window, now.parse().unwrap()), Ok(wanted), "{window:?} {now}");
        }
        let bad = is_open(&window(&[], "2 am", 60), Timestamp::UNIX_EPOCH).unwrap_err();
        assert!(bad.to_string().starts_with("spec.maintenanceWindow.start: \"2 am\" is no time"), "{bad}");
    }
}
