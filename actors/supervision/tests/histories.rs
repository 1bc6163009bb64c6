//! Seeded histories of exits, kills, failing and panicking starts, hung stops and meltdowns. Our supervisor does what
//! OTP's rules say.

mod support;

use futures_util::StreamExt;
use std::time::Duration;
use support::dry::Dry;
use support::histories::{History, history};
use support::otp::Otp;
use support::real::Real;

/// Histories of the decision alone.
const DRY_HISTORIES: u64 = 30_000;
/// Histories of real supervisors.
const REAL_HISTORIES: u64 = 400;
/// Real histories that run at the same time: a hung stop costs time, not work.
const REAL_TOGETHER: usize = 40;

#[test]
fn the_decision_follows_otps_rules_for_thousands_of_histories() {
    let (mut gave_up, mut restarted, mut retried) = (0, 0, 0);
    for seed in 0..DRY_HISTORIES {
        let history = history(seed, 14);
        let ((mut ours, our_boot), (mut otp, otp_boot)) = (Dry::boot(&history), Otp::boot(&history));
        assert_eq!(our_boot, otp_boot, "seed {seed}, boot of {history:#?}");
        let mut alive = otp_boot.running.is_some();
        for (n, event) in history.events.iter().enumerate() {
            if !alive {
                break;
            }
            let (did, should) = (ours.step(event), otp.step(event));
            assert_eq!(did, should, "seed {seed}, event {n} {event:?} of {history:#?}");
            alive = should.running.is_some();
            gave_up += u64::from(!alive);
            restarted += u64::from(should.answer.is_empty() && should.deeds.iter().any(|deed| deed.starts_with('+')));
            retried += u64::from(should.deeds.iter().any(|deed| deed.starts_with('!')));
        }
    }
    // The histories cover giving up, restarts and failed starts often enough.
    assert!(gave_up > DRY_HISTORIES / 10, "{gave_up} gave up");
    assert!(restarted > DRY_HISTORIES / 2, "{restarted} restarts");
    assert!(retried > DRY_HISTORIES / 10, "{retried} failed starts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_supervisors_follow_otps_rules_for_hundreds_of_histories() {
    let runs = futures_util::stream::iter(0..REAL_HISTORIES).map(|seed| tokio::spawn(real_history(seed)));
    let ends: Vec<_> = runs.buffer_unordered(REAL_TOGETHER).collect().await;
    for end in ends {
        end.expect("a history differs");
    }
}

async fn real_history(seed: u64) {
    // A window of one hour: real time does not decide which restarts count.
    let history = History { period: Duration::from_secs(3600), ..history(1_000_000 + seed, 8) };
    let ((mut real, real_boot), (mut otp, otp_boot)) = (Real::boot(&history).await, Otp::boot(&history));
    assert_eq!(real_boot, otp_boot, "seed {seed}, boot of {history:#?}");
    let mut alive = otp_boot.running.is_some();
    for (n, event) in history.events.iter().enumerate() {
        if !alive {
            return;
        }
        let (did, should) = (real.step(event).await, otp.step(event));
        assert_eq!(did, should, "seed {seed}, event {n} {event:?} of {history:#?}");
        alive = should.running.is_some();
    }
}
