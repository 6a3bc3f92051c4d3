generate-written = { $file }: zapisano
generate-current = { $file } jest aktualny
generate-missing = brakuje { $file }: uruchom `lamplighter generate` i zatwierdź plik
generate-differs = { $file } nie odpowiada temu, co zostałoby zapisane: uruchom `lamplighter generate` i zatwierdź plik
generate-from-line = od wiersza { $line }:
generate-more-lines = { $count ->
    [one] (jeszcze { $count } wiersz)
    [few] (jeszcze { $count } wiersze)
   *[other] (jeszcze { $count } wierszy)
}
generate-side-task = uwaga: { $task } to zadanie poboczne, które wykonuje tylko runner: zostaje pominięte
generate-eventbridge = { $task }: zadanie uruchamia EventBridge Scheduler według { $expression }, { $zone }
generate-pulse = { $task }: zadanie uruchamia puls: { $reasons }
generate-queue = { $task }: SQS przekazuje funkcji { $batch ->
    [one] po jednym zleceniu
    [few] do { $batch } zleceń naraz
   *[other] do { $batch } zleceń naraz
}, { $at_once ->
    [0] w tylu wywołaniach, na ile jest miejsce
    [one] w jednym wywołaniu
    [few] w najwyżej { $at_once } wywołaniach
   *[other] w najwyżej { $at_once } wywołaniach
}; po { $deliveries } dostarczeniach wiadomość trafia do niedoręczonych
