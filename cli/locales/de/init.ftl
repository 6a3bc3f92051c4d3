init-no-workspace = in { $folder } und den Ordnern darüber gibt es weder einen Workspace noch ein Paket von Cargo: beginnen Sie ein neues Projekt mit `lamplighter new`
init-done = { $file } gibt es schon, also ist dies bereits ein Projekt: fügen Sie Aufgaben mit `lamplighter add` hinzu
init-name = { $error }; geben Sie mit --name einen anderen an
init-no-template = { $file } ist keine SAM-Vorlage: `Resources` fehlt
init-application = { $file } ist die Anwendung: `lamplighter generate` übernimmt sie in { $template } und lässt sie, wie sie ist
init-sam-settings = setzen Sie `template_file = "{ $template }"` in { $file }, damit `sam deploy` die Datei deployt, die `lamplighter generate` schreibt
init-next = weiter: lamplighter add cron tidy --schedule "every day", dann lamplighter up
