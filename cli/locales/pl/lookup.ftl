# Odpowiedzi na nazwę zadania, którego nie ma.
lookup-nearest = nie ma zadania `{ $word }`: czy chodziło o `{ $name }`?
lookup-all = nie ma zadania `{ $word }`: dostępne zadania to { $all }
lookup-none = nie ma zadania `{ $word }`: w { $folder } nie ma żadnych zadań
