# Warum ein Lauf nicht begann oder nicht abgeschlossen wurde.
reason-disabled = ausgeschaltet
reason-not-due = ihre Zeitplan-Funktion hat nein gesagt
reason-held = der Lauf { $run } hält die Aufgabe bis { $until }
reason-would-not-end = der Lauf { $run } sollte enden und tat es nicht rechtzeitig; er hält die Aufgabe bis { $until }
reason-begun = der Lauf { $run } hat schon begonnen
reason-tick-ran = für { $at } gab es schon einen Lauf
reason-deployment-ran = das Deployment { $deployment } hatte schon seinen Lauf
reason-lost = verloren: bis zum Ende der Sperre um { $until } war vom Lauf nichts mehr zu hören
reason-killed = verloren: das Programm, das die Funktion ausführte, wurde vorher beendet
reason-never-ran = { $task } wird gebraucht und ist noch nie gelaufen
reason-needs = { $task } wird gebraucht, und der letzte Lauf davon ist { $status } ({ $run })
# Warum der Puls eine Aufgabe startet und nicht EventBridge Scheduler. Welcher Teil eines Zeitplans gemeint ist, steht auf Englisch.
reason-dynamic = ihre eigene Funktion sagt, wann sie fällig ist
reason-inexpressible = EventBridge Scheduler kann `{ $schedule }` nicht ausdrücken: { $part }
reason-dependencies = sie hängt von anderen Aufgaben ab
reason-buffer = ihr Overlap ist `buffer`: ein Termin wartet, bis der Lauf vorbei ist
reason-catch-up = ihr Catch-up ist `{ $policy }`: jeder Termin einer Pause hat seinen Lauf
reason-jitter = sie hat Jitter: ihre Termine sind um ihren festen Anteil verschoben
