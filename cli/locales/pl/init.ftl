init-no-workspace = wokół { $folder } nie ma ani workspace'u, ani pakietu cargo: zacznij nowy projekt poleceniem `lamplighter new`
init-done = { $file } istnieje, więc to już jest projekt: dodawaj zadania poleceniem `lamplighter add`
init-name = { $error }; podaj inną opcją --name
init-no-template = { $file } nie jest szablonem SAM: brakuje `Resources`
init-template-taken = { $file } to plik, który zapisuje `lamplighter generate`: przenieś swój szablon, na przykład do infra/application.yaml, i uruchom `lamplighter init` ponownie
init-application = { $file } jest aplikacją: `lamplighter generate` włącza ją do { $template } i pozostawia bez zmian
init-next = dalej: lamplighter add cron tidy --schedule "every day", potem lamplighter up
