init-no-workspace = w { $folder } ani w folderach nadrzędnych nie ma ani workspace'u, ani pakietu cargo: zacznij nowy projekt poleceniem `lamplighter new`
init-done = { $file } istnieje, więc to już jest projekt: dodawaj zadania poleceniem `lamplighter add`
init-name = { $error }; podaj inną opcją --name
init-no-template = { $file } nie jest szablonem SAM: brakuje `Resources`
init-application = { $file } jest aplikacją: `lamplighter generate` włącza ją do { $template } i pozostawia bez zmian
init-sam-settings = ustaw `template_file = "{ $template }"` w { $file }, aby `sam deploy` wdrażał plik, który zapisuje `lamplighter generate`
init-next = dalej: lamplighter add cron tidy --schedule "every day", potem lamplighter up
