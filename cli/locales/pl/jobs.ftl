# Zlecenia, zlecenia zakończone niepowodzeniem i wiadomości, których nikt nie zrozumiał.
jobs-none = nie ma zleceń
jobs-none-dead = nie ma nic niedoręczonego
jobs-attempts = { $count ->
    [one] { $count } próba
    [few] { $count } próby
   *[other] { $count } prób
}
jobs-deliveries = { $count ->
    [one] doręczono raz
   *[other] doręczono { $count } razy
}
jobs-replayed = { $run } czeka ponownie w kolejce jako { $new }
jobs-replayed-before = { $run } już wcześniej trafiło ponownie do kolejki jako { $new }
jobs-sent-back = wiadomość { $message } jest znów w swojej kolejce
jobs-no-such = { $task } nie ma niedoręczonego { $id }: `lamplighter jobs dead` podaje wszystkie
jobs-runs = { $job } trwa: `lamplighter abort` je kończy
jobs-rung = { $job } nikt nie wykonuje: wykonawca dowie się o nim ponownie
