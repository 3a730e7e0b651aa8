//! The last of all test targets by its name: it prints what did not run, for cargo hides what a test that passes says.
//!
//! It has no harness, so that it can speak.

fn main() {
    let noted = standpipe_tests::not_run::take();
    if noted.is_empty() {
        println!("\nno test stepped aside");
        return;
    }
    println!("\n{} tests did not run here:", noted.len());
    for line in noted {
        println!("{line}");
    }
}
