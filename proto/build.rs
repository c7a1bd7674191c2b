//! Compiles the wire messages with a protobuf compiler written in Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files =
        ["enrolment", "round", "model", "ledger"].map(|name| format!("proto/forecastle/{name}/v1/{name}.proto"));
    let descriptors = protox::compile(&files, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".forecastle.round.v1.MaskedUpdateBytes")
        .bytes(".forecastle.model.v1.ModelChunk")
        .compile_fds(descriptors)?;
    println!("cargo::rerun-if-changed=proto");
    Ok(())
}
