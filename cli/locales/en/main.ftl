# What `main` says of a command as a whole.
main-error = error: { $reason }
