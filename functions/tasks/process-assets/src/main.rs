//! The function of the task `process-assets`.

lamplighter::main!(process_assets::ProcessAssets);
