# Co słyszy ktoś, kto podaje zadanie, którego nie ma.
lookup-nearest = nie ma zadania `{ $word }`: czy chodziło o `{ $name }`?
lookup-all = nie ma zadania `{ $word }`: są { $all }
lookup-none = nie ma zadania `{ $word }`: w { $folder } nie ma żadnego
