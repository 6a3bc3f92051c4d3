# Listy zleceń, wiadomości niedostarczone i ponowienia.
jobs-none = brak zleceń
jobs-none-dead = brak niedostarczonych
jobs-attempts = { $count ->
    [one] { $count } próba
    [few] { $count } próby
   *[other] { $count } prób
}
jobs-deliveries = { $count ->
    [one] dostarczono raz
   *[other] dostarczono { $count } razy
}
jobs-replayed = { $run } dodano ponownie do kolejki jako { $new }
jobs-replayed-before = { $run } dodano ponownie do kolejki już wcześniej jako { $new }
jobs-sent-back = wiadomość { $message } wróciła do swojej kolejki
jobs-no-such = zadanie { $task } nie ma niedostarczonego { $id }: wszystkie podaje `lamplighter jobs dead`
jobs-runs = zlecenie { $job } jest w toku: anuluje je `lamplighter jobs abort`
jobs-notified = zlecenie { $job } nie miało workera: ponownie powiadomiono workery
