# Listen von Jobs, unzustellbare Nachrichten und Wiederholungen.
jobs-none = keine Jobs
jobs-none-dead = nichts Unzustellbares
jobs-attempts = { $count ->
    [one] { $count } Versuch
   *[other] { $count } Versuche
}
jobs-deliveries = { $count ->
    [one] einmal zugestellt
   *[other] { $count }-mal zugestellt
}
jobs-replayed = { $run } wurde als { $new } erneut eingereiht
jobs-replayed-before = { $run } war bereits als { $new } erneut eingereiht
jobs-sent-back = Nachricht { $message } ist wieder in ihrer Queue
jobs-no-such = { $task } hat keine unzustellbare Nachricht { $id }: `lamplighter jobs dead` listet alle auf
jobs-runs = { $job } ist im Gange: `lamplighter jobs abort` bricht ihn ab
jobs-notified = { $job } hatte keinen Worker: die Worker wurden erneut benachrichtigt
