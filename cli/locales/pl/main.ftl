# Co `main` mówi o poleceniu jako całości.
main-error = błąd: { $reason }
main-missed = { $count ->
    [one] jednego wiersza nie pokazano: nikt go nie odczytał na czas
    [few] { $count } wierszy nie pokazano: nikt ich nie odczytał na czas
    [many] { $count } wierszy nie pokazano: nikt ich nie odczytał na czas
   *[other] { $count } wierszy nie pokazano: nikt ich nie odczytał na czas
}
main-not-shown = nie wszystko pokazano: standardowe wyjście nic więcej nie przyjmuje ({ $reason })
