generate-written = zapisano { $file }
generate-current = plik { $file } jest aktualny
generate-missing = brakuje pliku { $file }: uruchom `lamplighter generate` i zatwierdź plik
generate-differs = plik { $file } jest nieaktualny: uruchom `lamplighter generate` i zatwierdź plik
generate-from-line = od wiersza { $line }:
generate-more-lines = { $count ->
    [one] (jeszcze { $count } wiersz)
    [few] (jeszcze { $count } wiersze)
   *[other] (jeszcze { $count } wierszy)
}
generate-environment = uwaga: szablon nie jest dla środowiska { $environment }, którego wartości są inne: `lamplighter generate --environment { $environment } --output PLIK` zapisuje szablon dla niego
generate-side-task = uwaga: pominięto { $task }, bo zadania poboczne wykonuje tylko runner
generate-eventbridge = { $task }: uruchamia je EventBridge Scheduler według { $expression }, { $zone }
generate-pulse = { $task }: uruchamia je puls; powód: { $reasons }
generate-queue = { $task }: SQS przekazuje funkcji { $batch ->
    [one] po jednym zleceniu
   *[other] do { $batch } zleceń naraz
}, { $at_once ->
    [0] w tylu równoległych wywołaniach, na ile pozwala konto
    [one] w jednym wywołaniu
   *[other] w najwyżej { $at_once } równoległych wywołaniach
}; po { $deliveries ->
    [one] jednym dostarczeniu
   *[other] { $deliveries } dostarczeniach
} wiadomość trafia do kolejki niedostarczonych
