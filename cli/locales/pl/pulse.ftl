# Puls: funkcja, która co minutę uruchamia zadania.
pulse-running = puls w toku ({ $time })
pulse-failed = puls się nie powiódł: { $reason }
pulse-another = tę minutę obsługuje inny przebieg pulsu
pulse-not-well = nieudane przebiegi w tym przebiegu pulsu: { $failed }; błędy samego pulsu: { $errors ->
    [none] brak
   *[other] { $errors }
}
pulse-numbers = do uruchomienia { $due }, uruchomione { $executed }, udane { $succeeded }, nieudane { $failed }, pominięte { $skipped }
pulse-health = { $health ->
    [HEALTHY] puls działa prawidłowo
    [FAILING] puls zawodzi
    [SILENT] puls przestał działać
   *[UNKNOWN] puls jeszcze nie działał
}
pulse-last = ostatni przebieg pulsu { $time }: { $numbers }
pulse-rate = udane przebiegi pulsu: { $rate }% z ostatnich { $pulses }; średni czas { $average }, najdłuższy { $slowest }
pulse-streak = { $task }: nieudane przebiegi z rzędu: { $streak }
