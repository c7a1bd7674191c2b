# The main job: a marketplace of merchants, a server, private rounds, a report.
marketplace *args:
    cargo run --release --example marketplace -- {{args}}

# All tests.
test:
    cargo test --workspace

# Explore the models of the protocol (needs spin and a C compiler, five minutes).
models:
    bash docs/models/check.sh

# What CI runs.
ci:
    bash .ci/run

# Rebuild the small warm-start models from generated series.
warm-start:
    cargo run --release --example warm_start -- --preset nano-daily --out client/assets/warm-start/nano-daily.safetensors
    cargo run --release --example warm_start -- --preset nano-weekly --out client/assets/warm-start/nano-weekly.safetensors
    cargo run --release --example warm_start -- --preset nano-weekly-long --out client/assets/warm-start/nano-weekly-long.safetensors
