generate-written = { $file } is written
generate-current = { $file } is current
generate-missing = { $file } is missing: run `lamplighter generate` and commit it
generate-differs = { $file } is not what would be written: run `lamplighter generate` and commit it
generate-from-line = from line { $line }:
generate-more-lines = ({ $count } more lines)
generate-side-task = note: { $task } is a side task, which only the runner runs: it is left out
