# Aufträge, gescheiterte Aufträge und Nachrichten, die niemand verstand.
jobs-none = es gibt keine Aufträge
jobs-none-dead = es gibt nichts Unzustellbares
jobs-attempts = { $count ->
    [one] { $count } Versuch
   *[other] { $count } Versuche
}
jobs-deliveries = { $count ->
    [one] einmal zugestellt
   *[other] { $count }-mal zugestellt
}
jobs-replayed = { $run } ist wieder eingereiht, als { $new }
jobs-replayed-before = { $run } wurde schon wieder eingereiht, als { $new }
jobs-sent-back = Nachricht { $message } ist wieder in ihrer Warteschlange
jobs-no-such = { $task } hat nichts Unzustellbares namens { $id }: `lamplighter jobs dead` listet alles auf
jobs-runs = { $job } läuft: `lamplighter abort` beendet ihn
jobs-rung = { $job } wird nicht bearbeitet: wer ihn ausführt, erfährt noch einmal davon
