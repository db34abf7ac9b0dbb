//! `ws-bench`: loads for the gateway and its peers, and what each cost them.

fn main() {}
