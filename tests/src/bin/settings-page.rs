//! Writes docs/settings.md.

use e2e::{cluster, settings_page};

fn main() -> std::io::Result<()> {
    std::fs::write(
        cluster::root().join(settings_page::PATH),
        settings_page::render(),
    )
}
