-- Whether a query has a word that an index can look up: not when all its words are too common or excluded.
select querytree(foxtrot.search_query(%(query)s)) not in ('', 'T') as searchable
