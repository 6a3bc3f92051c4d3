//! Random numbers from the operating system, for ids and pauses.

use jiff::Timestamp;

/// 128 random bits. Without a source of randomness they are the time: that still distinguishes runs, and the table refuses a
/// second use of an id.
pub fn random() -> u128 {
    let mut bytes = [0; 16];
    let filled = getrandom::fill(&mut bytes);
    let time = Timestamp::now().as_nanosecond().unsigned_abs();
    filled.map_or(time, |()| u128::from_le_bytes(bytes))
}

/// A uniformly distributed number between 0 and 1.
pub fn jitter() -> f64 {
    let bits = u32::try_from(random() & u128::from(u32::MAX)).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}
