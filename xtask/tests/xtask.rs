//! Holds the chores to their word: the checkout is tidy, and each rule of tidy can fail.

mod xtask {
    mod lexer;
    mod tidy;
}
