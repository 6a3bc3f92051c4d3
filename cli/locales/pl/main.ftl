# Co `main` mówi o poleceniu jako całości.
main-error = błąd: { $reason }
