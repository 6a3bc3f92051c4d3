//! What `#[task]` refuses, it refuses at the author's own word. Read the snapshots when they change: is the caret
//! under the fault, and does the text say what may stand there?

#[test]
fn c02_every_error_points_at_the_authors_own_word() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
