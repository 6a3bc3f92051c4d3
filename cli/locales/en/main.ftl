# What `main` says of a command as a whole.
main-error = error: { $reason }
main-missed = { $count ->
    [one] a line is not shown: nobody read it in time
   *[other] { $count } lines are not shown: nobody read them in time
}
main-not-shown = not everything is shown: standard output takes no more ({ $reason })
