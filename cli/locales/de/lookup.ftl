# Antworten auf den Namen einer Aufgabe, die es nicht gibt.
lookup-nearest = es gibt keine Aufgabe `{ $word }`: war `{ $name }` gemeint?
lookup-all = es gibt keine Aufgabe `{ $word }`: vorhanden sind { $all }
lookup-none = es gibt keine Aufgabe `{ $word }`: in { $folder } gibt es keine
