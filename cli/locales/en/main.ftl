# Messages about a command as a whole.
main-error = error: { $reason }
main-dropped = { $count ->
    [one] { $count } line was dropped: the output was not read in time
   *[other] { $count } lines were dropped: the output was not read in time
}
main-not-shown = the output is incomplete: cannot write to standard output ({ $reason })
