new-created = created { $file }
new-changed = changed { $file }
new-not-empty = the folder { $folder } is not empty
new-inside = { $manifest } is above the new folder: if it is a workspace, add the folder to its `exclude`
new-kinds = Which kinds of tasks? (Space chooses, Enter ends)
new-next = next: cd { $folder } && lamplighter up
new-dry-run = nothing was written
