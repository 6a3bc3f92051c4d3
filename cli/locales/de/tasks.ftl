tasks-none = keine Aufgaben in { $folder }
tasks-attempts = { $count ->
    [one] { $count } Versuch
   *[other] { $count } Versuche
}
# Wann eine Aufgabe eines Deployments läuft: `Deployment Update (vorher, braucht run-migrations)`.
tasks-lifecycle = { $on } ({ $phase })
tasks-lifecycle-needs = { $on } ({ $phase }, braucht { $needs })
tasks-before = vorher
tasks-after = nachher
tasks-cron = { $schedule } ({ $zone })
tasks-by-function = nach der eigenen Zeitplan-Funktion
tasks-queue = Queue
tasks-side = Nebenaufgabe
tasks-none-such = keine passenden Aufgaben
# Der Zustand einer Aufgabe.
tasks-disabled = ausgeschaltet
tasks-running = läuft
tasks-last = zuletzt { $status }
tasks-next = nächster Lauf { $far }
