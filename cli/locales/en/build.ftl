build-size-kb = { $size } kB
build-size-mb = { $size } MB
