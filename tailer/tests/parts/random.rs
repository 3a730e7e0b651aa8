//! Random steps of writers, rotators and operators, against a reference that knows which bytes nobody could read.
//!
//! After each step who follows runs to rest, or provably does not look; then every line that could be read was put
//! once, whole, and in the order in which it was written, and nothing else was. `STANDPIPE_TEST_SEED` is the first
//! seed, `STANDPIPE_TEST_SEEDS` how many there are, `STANDPIPE_TEST_STEPS` how many steps each has.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::world::World;
use crate::world::steps::{Random, Setting, Step};

fn number_of(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn setting_of(seed: usize) -> Setting {
    let room = [1 << 20, 256, 5000][seed / 2 % 3];
    Setting { has_leases: seed.is_multiple_of(2), is_link: seed % 5 == 4, room }
}

fn play(setting: Setting, steps: &[Step], counts: &mut (usize, usize)) -> Result<(), String> {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(setting);
        for (index, step) in steps.iter().enumerate() {
            world.play(*step).map_err(|why| format!("at step {index}, {step:?}: {why}"))?;
        }
        world.finish().map_err(|why| format!("at the end: {why}"))?;
        let (lines, destroyed) = world.counts();
        *counts = (counts.0 + lines, counts.1 + destroyed);
        Ok(())
    }));
    played.unwrap_or_else(|_| Err(String::from("it panicked")))
}

/// Leaves out what is not needed to fail.
fn shrink(setting: Setting, mut steps: Vec<Step>) -> (Vec<Step>, String) {
    let mut why = String::new();
    let mut size = steps.len().next_power_of_two();
    while size > 0 {
        let mut from = 0;
        while from < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + size).min(steps.len()));
            match play(setting, &fewer, &mut (0, 0)) {
                Err(message) => (steps, why) = (fewer, message),
                Ok(()) => from += size,
            }
        }
        size /= 2;
    }
    (steps, why)
}

#[test]
fn what_could_be_read_comes_out_once_whole_and_in_order() {
    let first = number_of("STANDPIPE_TEST_SEED", 1);
    let (seeds, count) = (number_of("STANDPIPE_TEST_SEEDS", 60), number_of("STANDPIPE_TEST_STEPS", 200));
    let mut counts = (0, 0);
    for seed in first..first + seeds {
        let mut random = Random::new(seed as u64);
        let setting = setting_of(seed);
        let steps: Vec<Step> = (0..count).map(|_| Step::random(&mut random)).collect();
        if let Err(why) = play(setting, &steps, &mut counts) {
            let (steps, shortest) = shrink(setting, steps);
            let list: Vec<String> = steps.iter().map(|step| format!("  {step:?},")).collect();
            let list = list.join("\n") + "\n";
            panic!("seed {seed}, {setting:?}: {why}\n\nthe same, shorter:\n{list}{shortest}");
        }
    }
    println!("{} steps, {} lines, {} bytes that nobody could read", seeds * count, counts.0, counts.1);
}
