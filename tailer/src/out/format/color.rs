//! Which color the name of a source has: its own, and the same in each run. Pure.

use xxhash_rust::xxh3::xxh3_64;

/// Of the 256 colors of terminals, those that can be read on a dark and on a light ground and are neither red nor
/// yellow, which are for levels.
const COLORS: [u8; 24] =
    [31, 32, 33, 37, 38, 64, 65, 66, 68, 69, 71, 72, 74, 96, 97, 98, 99, 104, 127, 132, 133, 134, 139, 169];

/// The color of `name`, as its hash tells; if another source has that already, the next that none has.
pub(super) fn of_name(name: &str, others: impl Iterator<Item = u8>) -> u8 {
    let first = (xxh3_64(name.as_bytes()) % COLORS.len() as u64) as usize;
    let others: Vec<u8> = others.collect();
    let mut colors = (0..COLORS.len()).map(|step| COLORS[(first + step) % COLORS.len()]);
    colors.find(|color| !others.contains(color)).unwrap_or(COLORS[first])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_a_color_of_its_own_while_there_are_some() {
        let mut taken = Vec::new();
        for number in 0..COLORS.len() {
            let color = of_name(&format!("{number}.log"), taken.iter().copied());
            assert!(!taken.contains(&color), "{number}");
            taken.push(color);
        }
        let alone = of_name("app.log", std::iter::empty());
        assert_eq!(of_name("app.log", taken.into_iter()), alone);
    }
}
