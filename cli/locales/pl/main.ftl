# Komunikaty o poleceniu jako całości.
main-error = błąd: { $reason }
main-dropped = { $count ->
    [one] pominięto { $count } wiersz: wyjścia nie odczytano na czas
    [few] pominięto { $count } wiersze: wyjścia nie odczytano na czas
   *[other] pominięto { $count } wierszy: wyjścia nie odczytano na czas
}
main-not-shown = dane wyjściowe są niepełne: nie można pisać na standardowe wyjście ({ $reason })
