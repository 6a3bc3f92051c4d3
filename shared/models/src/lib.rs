//! Model checks of the decisions of `lamplighter-core`. The models are the tests of this package; the library is empty.
//!
//! They are a package of their own, because a check visits millions of states and the workspace optimises this package in
//! every build.
